//! Where words go: data to stdout, the rest to stderr, colour only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// How this run speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    is_coloured: bool,
}

/// A colour of the terminal, used only beside words that say the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Green,
    Yellow,
    Red,
    Bold,
    Dim,
}

impl Output {
    /// Speaks JSON if asked to, and in colour if stdout is a terminal.
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, is_coloured: io::stdout().is_terminal() }
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

    /// Text on stdout as it comes; nothing in JSON mode.
    pub(crate) fn piece(self, text: &str) -> Result<()> {
        if !self.is_json {
            let mut stdout = io::stdout().lock();
            write!(stdout, "{text}")?;
            stdout.flush()?;
        }
        Ok(())
    }

    /// The JSON document on stdout; nothing in text mode.
    pub(crate) fn json(self, value: &Value) -> Result<()> {
        if self.is_json {
            writeln!(io::stdout().lock(), "{value:#}")?;
        }
        Ok(())
    }

    /// A line on stderr for the person at the terminal.
    pub(crate) fn note(self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
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
