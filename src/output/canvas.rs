//! The terminal that bars are drawn on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::TermLike;

/// stderr, on which the cursor rests on an empty line of its own below what is drawn.
///
/// indicatif leaves it behind the last column of the last line. Whatever the terminal writes there,
/// such as the `^C` of somebody who interrupts, begins another line, and the next drawing would miss
/// the first.
#[derive(Debug)]
pub(super) struct Canvas {
    term: Term,
    /// Whether something was drawn since the cursor was moved up.
    drawn: AtomicBool,
    /// Whether the cursor rests below the drawing.
    below: AtomicBool,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self {
            term: Term::buffered_stderr(),
            drawn: AtomicBool::new(false),
            below: AtomicBool::new(false),
        }
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        TermLike::width(&self.term)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.term)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if self.below.swap(false, Ordering::Relaxed) {
            self.term.clear_line()?;
            self.term.move_cursor_up(n + 1)
        } else {
            self.term.move_cursor_up(n)
        }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn.store(true, Ordering::Relaxed);
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // A drawing ends with this, and so does a clearing, which wrote nothing.
        if self.drawn.swap(false, Ordering::Relaxed) {
            self.term.write_str("\r\n")?;
            self.below.store(true, Ordering::Relaxed);
        }
        self.term.flush()
    }
}
