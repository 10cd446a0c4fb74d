//! Where words go: data to stdout, the rest to stderr, colour only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Fewest columns that lines are broken for.
const ITEM_WIDTH_MIN: usize = 20;

/// How this run speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    is_terminal: bool,
    is_coloured: bool,
    /// Columns of the terminal that is written to.
    width: Option<u16>,
}

/// Somebody else's text for one line: control characters are shown as escapes, never obeyed, and so
/// are characters that cannot be seen.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in escaped(text, &[]).chars() {
        match is_invisible(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// Whether a character stands for nothing that can be seen; some scripts and emoji need a few of them.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Breaks a text into lines of at most `width` characters where it has spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) && !kept.contains(&c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// Whether a character could act on a terminal instead of standing there.
fn is_harmful(c: char) -> bool {
    // Bidirectional overrides are no control characters for `char`, and can reorder a line.
    let is_bidirectional = matches!(
        c,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || is_bidirectional
}

/// A colour of the terminal, used only beside words that say the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Green,
    Yellow,
    Red,
    Blue,
    Magenta,
    Cyan,
    Bold,
    Dim,
}

impl Output {
    /// Speaks JSON if asked to, and in colour if stdout is a terminal and the user does not mind.
    pub(crate) fn new(is_json: bool, may_colour: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let width = size.map(|size| size.ws_col).filter(|columns| is_terminal && *columns > 0);
        Self { is_json, is_terminal, is_coloured: is_terminal && may_colour, width }
    }

    /// Whether one JSON document is expected on stdout.
    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    /// A line of text on stdout; nothing in JSON mode.
    pub(crate) fn line(self, text: &str) -> Result<()> {
        if !self.is_json {
            writeln!(io::stdout().lock(), "{text}")?;
        }
        Ok(())
    }

    /// An item of a list: `lead` takes `indent` columns, and what follows it keeps them free.
    ///
    /// Only a terminal that is wide enough has lines broken.
    pub(crate) fn item(self, lead: &str, indent: usize, text: &str) -> Result<()> {
        let width = self.width.map_or(usize::MAX, usize::from);
        let room = width.saturating_sub(indent);
        let lines = if room < ITEM_WIDTH_MIN { vec![text.to_owned()] } else { wrapped(text, room) };
        for (index, line) in lines.iter().enumerate() {
            match index {
                0 => self.line(&format!("{lead}{line}"))?,
                _ => self.line(&format!("{:indent$}{line}", ""))?,
            }
        }
        Ok(())
    }

    /// Text on stdout as it comes; nothing in JSON mode.
    ///
    /// A terminal gets no control characters but line feed and tab: they could move the cursor and
    /// paint over what `tally` said. A file or pipe gets the text as it is.
    pub(crate) fn piece(self, text: &str) -> Result<()> {
        if !self.is_json {
            let mut stdout = io::stdout().lock();
            match self.is_terminal {
                true => write!(stdout, "{}", escaped(text, &['\n', '\t']))?,
                false => write!(stdout, "{text}")?,
            }
            stdout.flush()?;
        }
        Ok(())
    }

    /// The JSON document on stdout; nothing in text mode.
    pub(crate) fn json(self, value: &Value) -> Result<()> {
        if self.is_json {
            // Inside JSON strings serde_json leaves what lies above ASCII's controls as it is.
            let mut text = String::new();
            for c in format!("{value:#}").chars() {
                match is_harmful(c) && c != '\n' {
                    true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                    false => text.push(c),
                }
            }
            writeln!(io::stdout().lock(), "{text}")?;
        }
        Ok(())
    }

    /// Bytes on stdout, exactly; they are what was asked for, in JSON mode too.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A line on stderr for the person at the terminal.
    pub(crate) fn note(self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{}", escaped(text, &['\n', '\t']));
    }

    /// `text` in a colour, if stdout shows colours.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.is_coloured {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Blue => 34,
            Colour::Magenta => 35,
            Colour::Cyan => 36,
            Colour::Bold => 1,
            Colour::Dim => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A progress bar on stderr, shown only on a terminal.
    pub(crate) fn bar(self, label: &'static str, total: u64) -> ProgressBar {
        if !io::stderr().is_terminal() || self.is_json {
            return ProgressBar::hidden();
        }
        let template = "{msg:<12} [{bar:40}] {percent:>3} % {eta}";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_are_shown_and_not_obeyed() {
        assert_eq!(quoted("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(quoted("a\u{200b}b\u{feff}"), "a\\u{200b}b\\u{feff}");
        assert_eq!(escaped("a\tb\n\r", &['\n', '\t']), "a\tb\n\\r");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_no_word_is_lost() {
        assert_eq!(wrapped("a bc d", 4), ["a bc", "d"]);
        assert_eq!(wrapped("abcdef gh", 3), ["abcdef", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
        assert_eq!(wrapped("a  b", 9), ["a  b"]);
    }
}
