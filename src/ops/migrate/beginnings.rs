//! Histories that many schemas have alike, with what refinery decides for each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::targets::{Known, Unit};
use crate::error::Error;
use crate::model::migration::{History, Version};
use crate::model::tenant::Isolation;
use crate::pg::{Decided, Prepared};

/// Those that were met so far, by model and length.
#[derive(Default)]
pub(super) struct Beginnings(RefCell<BTreeMap<(Isolation, usize), Rc<Beginning>>>);

/// A history, and what is done about it.
pub(super) struct Beginning {
    /// None where the table is not there.
    pub(super) history: Option<History>,
    decided: RefCell<Option<Rc<Decided>>>,
}

impl Beginnings {
    /// The history of a unit, shared with all that have the same.
    pub(super) fn of(&self, unit: &Unit<'_>) -> Rc<Beginning> {
        let new = || Rc::new(Beginning::new(unit.known.history(unit.set)));
        match &unit.known {
            Known::First(count) => {
                Rc::clone(self.0.borrow_mut().entry((unit.isolation, *count)).or_insert_with(new))
            }
            _ => new(),
        }
    }
}

impl Beginning {
    fn new(history: Option<History>) -> Self {
        Self { history, decided: RefCell::default() }
    }

    /// What refinery decides, a moment ago at most.
    ///
    /// # Errors
    ///
    /// As [`Decided::new`].
    pub(super) async fn decided(
        &self,
        files: &Prepared<'_>,
        to: Option<Version>,
    ) -> Result<Rc<Decided>, Error> {
        let kept = self.decided.borrow().as_ref().filter(|kept| kept.is_fresh()).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let decided = Rc::new(Decided::new(files, self.history.as_ref(), to).await?);
        self.decided.replace(Some(Rc::clone(&decided)));
        Ok(decided)
    }
}
