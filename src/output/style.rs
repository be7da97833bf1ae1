//! Colour decorates, words inform: every text is complete without it.

use console::Style as Paint;

/// Whether and how text is painted, and how wide the screen is.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
    /// Columns; tables fit into them.
    pub width: usize,
    /// Whether lists are whole, however long they are.
    pub whole: bool,
}

impl Style {
    /// Nobody reads longer lines at a glance; behind a pipe there may be no screen at all.
    const WIDEST: usize = 200;

    /// Paints or does not, for a screen so wide.
    pub fn new(colour: bool, width: usize) -> Self {
        Self { colour, width: width.clamp(40, Self::WIDEST), whole: false }
    }

    /// Whether a line may be too long for the screen.
    pub fn is_bound(&self) -> bool {
        self.width < Self::WIDEST
    }

    /// The same for somebody who asks for whole lists, or does not.
    #[must_use]
    pub fn whole(self, whole: bool) -> Self {
        Self { whole, ..self }
    }

    /// The same on a screen that has so many columns less: for what is indented.
    #[must_use]
    pub fn narrower(&self, columns: usize) -> Self {
        Self { width: self.width.saturating_sub(columns), ..*self }
    }

    /// Whether text is painted.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// What went well.
    pub fn good(&self, text: &str) -> String {
        self.paint(Paint::new().green(), text)
    }

    /// What went badly.
    pub fn bad(&self, text: &str) -> String {
        self.paint(Paint::new().red().bold(), text)
    }

    /// What needs a look.
    pub fn attention(&self, text: &str) -> String {
        self.paint(Paint::new().yellow(), text)
    }

    /// A name or a heading.
    pub fn strong(&self, text: &str) -> String {
        self.paint(Paint::new().bold(), text)
    }

    /// What may be skipped.
    pub fn faint(&self, text: &str) -> String {
        self.paint(Paint::new().dim(), text)
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        if self.colour {
            paint.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }
}
