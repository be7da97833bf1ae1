//! What a run writes into its ledger.

use std::cell::OnceCell;

use uuid::Uuid;

use super::run::Run;
use super::targets::Unit;
use crate::error::Error;
use crate::model::run::RunState;

#[derive(Default)]
pub(super) struct Journal {
    id: OnceCell<Uuid>,
}

impl Journal {
    pub(super) fn id(&self) -> Uuid {
        *self.id.get_or_init(Uuid::now_v7)
    }

    pub(super) async fn begin(&self, _run: &Run<'_, '_>) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn failed(&self) -> Option<Error> {
        None
    }

    pub(super) fn note(&self, _unit: &Unit<'_>) {}
    pub(super) fn note_waiting(&self, _unit: &Unit<'_>) {}
    pub(super) fn note_running(&self, _unit: &Unit<'_>) {}

    pub(super) async fn close(self, _state: RunState) -> Result<Option<Uuid>, Error> {
        Ok(Some(self.id()))
    }
}
