//! The divergence after every layer at every position, as a picture.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "places on a scale of nine colours"
)]

use std::fmt::Write as _;

/// Divergences in nats, a row for each layer and a column for each position.
pub(super) struct Heat {
    pub(super) positions: Vec<usize>,
    pub(super) rows: Vec<Vec<f64>>,
}

/// The scale's ends: 10^−8 and 1 nat.
const DECADES: (f64, f64) = (-8.0, 0.0);
/// Dark to bright, as evenly as the eye sees it (viridis).
const COLOURS: [(u8, u8, u8); 9] = [
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
];
const CELL: (usize, usize) = (11, 16);
const LEFT: usize = 64;
const TOP: usize = 64;

/// A picture in SVG; each cell says its number to whoever points at it.
pub(super) fn svg(heat: &Heat) -> String {
    let (width, height) = (heat.positions.len() * CELL.0, heat.rows.len() * CELL.1);
    let (full_width, full_height) = ((LEFT + width + 24).max(460), TOP + height + 88);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full_width} {full_height}\" \
         width=\"{full_width}\" height=\"{full_height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">Divergence of exact from float predictions, after every layer</text>\n\
         <text x=\"{LEFT}\" y=\"42\" fill=\"#555\">final norm and head applied to the residual stream; brighter is farther apart</text>\n"
    );
    for (layer, row) in heat.rows.iter().enumerate() {
        let y = TOP + layer * CELL.1;
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{layer}</text>",
            LEFT - 6,
            y + 12
        );
        for (column, (nats, position)) in row.iter().zip(&heat.positions).enumerate() {
            let x = LEFT + column * CELL.0;
            let (red, green, blue) = colour(*nats);
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"rgb({red},{green},{blue})\">\
                 <title>layer {layer}, position {position}: {nats:.2e} nats</title></rect>",
                CELL.0, CELL.1
            );
        }
    }
    let y = TOP + height + 16;
    for (column, position) in heat.positions.iter().enumerate().step_by(8) {
        let x = LEFT + column * CELL.0;
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\">{position}</text>");
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#555\">position in the text</text>",
        y + 16
    );
    let middle = TOP + height / 2;
    let _ = writeln!(
        out,
        "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\" fill=\"#555\">layer</text>"
    );
    for (index, (exponent, (red, green, blue))) in (-8..=0).zip(COLOURS).enumerate() {
        let (x, top) = (LEFT + index * 44, y + 28);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{top}\" width=\"44\" height=\"12\" fill=\"rgb({red},{green},{blue})\"/>"
        );
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\">1e{exponent}</text>", top + 26);
    }
    out.push_str("</svg>\n");
    out
}

/// A bar for a terminal: an eighth of a block for each eighth of a decade above 10^−8.
pub(super) fn stroke(nats: f64) -> String {
    let steps = (share(nats) * 64.0).round();
    (0..8)
        .map(|block| match steps - f64::from(block) * 8.0 {
            left if left >= 8.0 => '█',
            left if left >= 6.0 => '▊',
            left if left >= 4.0 => '▌',
            left if left >= 2.0 => '▎',
            _ => ' ',
        })
        .collect()
}

/// Where on the scale a divergence lies, 0 to 1.
fn share(nats: f64) -> f64 {
    let (low, high) = DECADES;
    ((nats.max(1e-300).log10() - low) / (high - low)).clamp(0.0, 1.0)
}

fn colour(nats: f64) -> (u8, u8, u8) {
    let place = share(nats) * (COLOURS.len() - 1) as f64;
    let index = COLOURS.iter().enumerate().rev().find(|(index, _)| *index as f64 <= place);
    let (index, from) = index.map_or((0, COLOURS[0]), |(index, colour)| (index, *colour));
    let to = COLOURS[(index + 1).min(COLOURS.len() - 1)];
    let part = place - index as f64;
    let mix = |from: u8, to: u8| {
        let mixed = f64::from(from) + (f64::from(to) - f64::from(from)) * part;
        // Between two bytes.
        mixed.round() as u8
    };
    (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_from_dark_to_bright_and_stops_at_its_ends() {
        assert_eq!((colour(0.0), colour(1e-9)), (COLOURS[0], COLOURS[0]));
        assert_eq!((colour(1.0), colour(50.0)), (COLOURS[8], COLOURS[8]));
        assert_eq!(colour(1e-4), COLOURS[4]);
        assert_eq!(stroke(0.0), " ".repeat(8));
        assert_eq!(stroke(1.0), "█".repeat(8));
        assert_eq!(stroke(1e-4).chars().filter(|c| *c == '█').count(), 4);
    }

    #[test]
    fn a_picture_has_a_cell_for_every_layer_and_position_that_says_its_number() {
        let heat = Heat { positions: vec![0, 4], rows: vec![vec![1e-6, 1e-3], vec![0.0, 2.0]] };
        let picture = svg(&heat);
        assert_eq!(picture.matches("<title>").count(), 4);
        assert!(picture.contains("layer 1, position 4: 2.00e0 nats"));
        assert!(picture.trim_end().ends_with("</svg>"));
    }
}
