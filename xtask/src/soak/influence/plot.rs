//! The measurement as a picture: each kind of scores with its interval, and the method's texts.

use std::fmt::Write as _;

use tally_attribution::influence::{Accuracy, METHOD};

use super::lds::Measured;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 280.0;
const ROW: f64 = 34.0;
const TOP: f64 = 44.0;

/// An SVG file.
pub(super) fn of(own: &Measured, beside: &[(&str, Measured)], accuracy: &Accuracy) -> String {
    let rows: Vec<(&str, &Measured)> = [(METHOD, own)]
        .into_iter()
        .chain(beside.iter().map(|(name, measured)| (*name, measured)))
        .collect();
    let x = |value: f64| LEFT + (value + 0.4) / 1.4 * (WIDTH - LEFT - 20.0);
    let mut bottom = TOP;
    let mut body = String::new();
    for (name, measured) in &rows {
        let y = bottom + ROW / 2.0;
        for it in &measured.correlations {
            let _ = writeln!(
                body,
                "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"2.5\" fill=\"#06c\" opacity=\"0.2\"/>",
                x(*it)
            );
        }
        let (low, high, mean) = (x(measured.low), x(measured.high), x(measured.mean));
        let _ = writeln!(
            body,
            "<path d=\"M{low:.1} {y}H{high:.1}\" stroke=\"#c30\" stroke-width=\"4\"/>\n<circle cx=\"{mean:.1}\" cy=\"{y}\" r=\"6\" fill=\"#c30\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            LEFT - 10.0,
            y + 4.0
        );
        bottom += ROW;
    }
    let mut axis = String::new();
    for tenth in [-0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let at = x(tenth);
        let _ = writeln!(
            axis,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\n<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tenth:.1}</text>",
            bottom + 16.0
        );
    }
    let height = bottom + 46.0;
    let Accuracy { families, subsets, queries, .. } = accuracy;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n<text x=\"20\" y=\"20\">Linear datamodeling score: {subsets} halves of {families} families, {queries} held-out texts</text>\n{axis}{body}<text x=\"{LEFT}\" y=\"{}\">rank correlation: each held-out text (blue), mean and 95 % interval (red)</text>\n</svg>\n",
        height - 10.0
    )
}
