//! Second logins go along when their roles get another place.

use super::issue::carry_out;
use super::{names, pairs, roles};
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::tenant::Tenant;
use crate::ops::Context;
use crate::pg::{self, Session, life};
use crate::plan::Reach;
use crate::plan::credentials::{Which, prepare};

/// Gives the second logins of a tenant's own roles what their roles begin with by now: a session has
/// the settings of whoever logs in. Those that are not there are not made.
///
/// # Errors
///
/// Whatever the server refuses.
pub(in crate::ops) async fn carry_second_logins(
    cx: &Context<'_>,
    control: &Session,
    tenant: &Tenant,
) -> Result<(), Error> {
    let (roles, own) = roles(cx, tenant);
    if !own {
        return Ok(());
    }
    let server = cx.servers.session(&tenant.placement.cluster, None).await?;
    let second = life::second_logins(&server, &roles).await?;
    let there = |role: &Ident| names(std::slice::from_ref(role)).ok()?.pop();
    let names: Vec<(Ident, Ident)> =
        roles.iter().filter_map(there).filter(|(_, login)| second.contains(login)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let all: Vec<&Ident> = names.iter().flat_map(|(first, second)| [first, second]).collect();
    let logins = pg::logins(&server, &all).await?;
    for pair in pairs(&names, &logins, &[]) {
        let plan = prepare(&tenant.id, Reach::Tenant, &pair, Which::Second, &logins)?;
        carry_out(cx, control, &server, tenant, &plan).await?;
    }
    Ok(())
}
