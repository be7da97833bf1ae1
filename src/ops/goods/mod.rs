//! A tenant's rows on their way from an archive, or from another tenant, into the tables of one.

mod filling;
mod stock;

pub(super) use filling::{Filled, fill};
pub(super) use stock::{Goods, Stock, Watched};
