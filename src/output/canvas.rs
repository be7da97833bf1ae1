//! The terminal that bars are drawn on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::TermLike;

/// A terminal on which the cursor rests on an empty line of its own below what is drawn.
///
/// indicatif leaves it behind the last column of the last line. Whatever the terminal writes there,
/// such as the `^C` of somebody who interrupts, begins another line, and the next drawing would miss
/// the first.
#[derive(Debug)]
pub(super) struct Canvas<T> {
    term: T,
    /// Whether something was drawn since the cursor was moved up.
    drawn: AtomicBool,
    /// Whether the cursor rests below the drawing.
    below: AtomicBool,
}

impl Canvas<Term> {
    /// stderr.
    pub(super) fn stderr() -> Self {
        Self::on(Term::buffered_stderr())
    }
}

impl<T: TermLike> Canvas<T> {
    fn on(term: T) -> Self {
        Self { term, drawn: AtomicBool::new(false), below: AtomicBool::new(false) }
    }
}

impl<T: TermLike> TermLike for Canvas<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
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

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

    use super::*;

    #[test]
    fn what_the_terminal_echoes_leaves_the_lines_alone() {
        let screen = InMemoryTerm::new(10, 20);
        let canvas = Box::new(Canvas::on(screen.clone()));
        let area = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(canvas));
        let bar = area.add(ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap());
        bar.set_message("one\ntwo\nthree");
        assert_eq!(screen.contents(), "one\ntwo\nthree");
        for _ in 0..3 {
            screen.write_str("^C").unwrap();
            assert_eq!(screen.contents(), "one\ntwo\nthree\n^C");
            bar.set_message("one\ntwo\nfour");
            bar.set_message("one\ntwo\nthree");
            assert_eq!(screen.contents(), "one\ntwo\nthree");
        }
        screen.write_str("^C").unwrap();
        area.suspend(|| screen.write_line("interrupted").unwrap());
        assert_eq!(screen.contents(), "interrupted\none\ntwo\nthree");
        bar.set_message("one");
        assert_eq!(screen.contents(), "interrupted\none");
        bar.finish_and_clear();
        assert_eq!(screen.contents(), "interrupted");
        screen.write_str("$").unwrap();
        assert_eq!(screen.contents(), "interrupted\n$");
    }
}
