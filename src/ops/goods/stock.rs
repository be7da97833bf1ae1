//! Where rows come from.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::archive::{Reader, TableRows};
use crate::error::{Code, Error};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::manifest::{Contents, Manifest};
use crate::model::tally::Tally;
use crate::ops::Context;
use crate::pg::copy::{Rows, Shape, Snapshot, Supply};
use crate::report::event::Event;

/// How often a person is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A tenant's data, described and at hand.
pub(in crate::ops) struct Goods<'a> {
    /// What it is. The rows and sums of a living tenant are not known beforehand.
    pub(in crate::ops) manifest: &'a Manifest,
    /// Where it is.
    pub(in crate::ops) stock: Stock<'a>,
}

/// Where rows are.
pub(in crate::ops) enum Stock<'a> {
    /// In an archive, whose parts are what the manifest says.
    Archive(&'a Reader),
    /// In another tenant, as it stood at one moment.
    Living(&'a Snapshot<'a>, &'a Ident),
}

impl Goods<'_> {
    /// Begins to read a table.
    pub(in crate::ops) async fn rows<'b>(
        &'b self,
        cx: &'b Context<'_>,
        contents: &'b Contents,
    ) -> Result<Watched<'b>, Error> {
        let flow = match &self.stock {
            Stock::Archive(reader) => Flow::Parts(reader.rows(contents)),
            Stock::Living(snapshot, home) => {
                let name = contents.place(home)?;
                Flow::Rows(Box::new(read(snapshot, &name, contents, Shape::Rows).await?))
            }
        };
        Ok(Watched::new(cx, flow, format!("copying {}", contents.label()), contents.rows))
    }
}

/// Begins to read the columns of a table that a manifest names.
async fn read(
    snapshot: &Snapshot<'_>,
    name: &QualifiedName,
    contents: &Contents,
    shape: Shape,
) -> Result<Rows, Error> {
    let table = snapshot
        .holdings()
        .tables
        .get(name)
        .ok_or_else(|| Error::new(Code::Bug, format!("{name} is not held")))?;
    let columns: Vec<Ident> = contents
        .columns
        .iter()
        .map(|column| Ident::new(column.name.clone()))
        .collect::<Result<_, _>>()?;
    snapshot.rows(name, table, &columns, shape, Tally::default()).await
}

enum Flow<'a> {
    Parts(TableRows<'a>),
    Rows(Box<Rows>),
}

/// Rows that pass while somebody is told how far it is, and may stop it.
pub(in crate::ops) struct Watched<'a> {
    cx: &'a Context<'a>,
    flow: Flow<'a>,
    what: String,
    expected: u64,
    passed: u64,
    told: Instant,
}

impl<'a> Watched<'a> {
    fn new(cx: &'a Context<'_>, flow: Flow<'a>, what: String, expected: u64) -> Self {
        Self { cx, flow, what, expected, passed: 0, told: Instant::now() }
    }

    /// Watches rows of a snapshot that go into an archive.
    pub(in crate::ops) async fn of_snapshot(
        cx: &'a Context<'a>,
        snapshot: &Snapshot<'_>,
        name: &QualifiedName,
        contents: &Contents,
        shape: Shape,
    ) -> Result<Self, Error> {
        let rows = read(snapshot, name, contents, shape).await?;
        Ok(Self::new(
            cx,
            Flow::Rows(Box::new(rows)),
            format!("exporting {}", contents.label()),
            contents.rows,
        ))
    }

    fn tell(&mut self, piece: &[u8]) {
        self.passed += newlines(piece);
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let share = (self.passed.min(self.expected) * 100).checked_div(self.expected);
        let what = match share {
            Some(percent) => {
                format!("{}: {} of {} rows ({percent} %)", self.what, self.passed, self.expected)
            }
            None => format!("{}: {} rows", self.what, self.passed),
        };
        self.cx.observer.on(&Event::Working { what: &what });
    }
}

impl Supply for Watched<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.cx.interrupt.check(&self.what)?;
        let piece = match &mut self.flow {
            Flow::Parts(parts) => parts.next().await?,
            Flow::Rows(rows) => rows.next().await?,
        };
        if let Some(piece) = &piece {
            self.tell(piece);
        }
        Ok(piece)
    }
}

/// In COPY's text format, the rows that end in a piece.
pub(in crate::ops) fn newlines(piece: &[u8]) -> u64 {
    piece.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
