//! Rows on their way out of a server and into one, by COPY, a piece at a time.
//!
//! Nothing is gathered: what passes is counted and summed as it passes, so that a table of any size
//! takes the memory of one piece. Row-level security lets a table's owner read in a tenant's context
//! and refuses it COPY FROM (0A000): rows for such a table are copied into a temporary table and
//! inserted from there, which is checked by the policies as every INSERT is. On one machine that
//! writes every row twice, and needs no more than the right to make temporary tables.

mod loading;
mod snapshot;
mod stream;

pub use loading::{Loading, Supply};
pub use snapshot::{Snapshot, holdings_of};
pub use stream::{Filling, Rows, Shape};
