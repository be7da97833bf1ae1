//! The ends of a journey: closing the old place, and removing the one that is left behind.

use super::{Journey, mapped};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::tenant::Isolation;
use crate::pg::moving::{self, Roles};
use crate::pg::{self, life};

impl Journey<'_> {
    pub(super) async fn seal(&mut self) -> Result<(), Error> {
        let (wait, known) = (self.options.writer_wait, self.moved.sealed.clone());
        let Some((site, holdings)) = self.at_source().await? else {
            return Ok(());
        };
        let mut taken = match known {
            Some(taken) => taken,
            None => moving::doors(&site.place()).await?,
        };
        // Kept before it is taken away: a killed run forgets nothing.
        moving::seal(self.control, &self.moved, Some(&taken)).await?;
        let Some((site, _)) = self.at_source().await? else {
            return Ok(());
        };
        moving::seal_place(&site.place(), &holdings, &taken, wait).await?;
        taken["done"] = true.into();
        moving::seal(self.control, &self.moved, Some(&taken)).await?;
        self.reread().await
    }

    /// What was written in the new place since the switch would be lost by going back.
    pub(super) async fn check_untouched(&mut self) -> Result<(), Error> {
        if self.options.lose_writes {
            return Ok(());
        }
        let Some(before) = self.moved.sums.clone() else {
            return Ok(());
        };
        let wait = self.options.writer_wait;
        let ((here, held), (there, new)) = self.both().await?;
        let mapping = mapped((here, &held), (there, &new))?;
        let now = moving::sums(&there.place(), &new, &mapping, |mapped| &mapped.target).await?;
        let differ: Vec<&str> =
            now.iter().filter(|sum| !before.contains(sum)).map(|sum| sum.table.as_str()).collect();
        if differ.is_empty() {
            return Ok(());
        }
        let tenant = &there.place().tenant.id.clone();
        let message = format!(
            "abort the move of tenant {tenant}: since it switched, it has written in {}",
            differ.join(", ")
        );
        // It lives there: it writes on.
        moving::open(&there.place(), &new, wait).await?;
        Err(Error::new(Code::Refused, message)
            .hint(format!("keep it where it is: tenantctl move finish {tenant}"))
            .hint("or lose what was written there with --lose-writes"))
    }

    /// Removes what is in one of the places, and who was made for it.
    pub(super) async fn remove(&mut self, target: bool) -> Result<(), Error> {
        let wait = self.options.writer_wait;
        let desired = if target { self.target.clone() } else { self.source.clone() };
        let placement = &desired.tenant.placement;
        let roles = self.roles(target).await?;
        if desired.tenant.isolation == Isolation::Database {
            self.here = None;
            self.there = None;
            let server = self.cx.servers.dedicated(&placement.cluster, None).await?;
            moving::remove_database(&server, &desired.tenant).await?;
            moving::remove_roles(&server, &desired.tenant, &roles).await?;
        } else {
            let found = if target { self.at_target().await? } else { self.at_source().await? };
            if let Some((site, holdings)) = found {
                moving::remove_rows(&site.place(), &holdings, wait).await?;
            }
            let slot = if target { &self.there } else { &self.here };
            match slot {
                Some(site) => moving::remove_roles(site.session(), &desired.tenant, &roles).await?,
                None => {
                    let database = Some(&placement.database);
                    let session = self.cx.servers.dedicated(&placement.cluster, database).await?;
                    moving::remove_roles(&session, &desired.tenant, &roles).await?;
                }
            }
        }
        let gone: Vec<&Ident> = roles.going.iter().collect();
        pg::credentials::forget(self.control, &placement.cluster, &gone).await
    }

    /// The roles of one place that are the tenant's own: those that it has in the other place as
    /// well stay, with their second logins.
    async fn roles(&self, target: bool) -> Result<Roles, Error> {
        let (of, other) =
            if target { (&self.target, &self.source) } else { (&self.source, &self.target) };
        let same_cluster = of.tenant.placement.cluster == other.tenant.placement.cluster;
        let used: Vec<&Ident> = std::iter::once(&other.tenant.owner).chain(other.users()).collect();
        let mut roles = Roles::default();
        let users = of.users().filter(|_| of.roles_are_its_own);
        // Whoever owns shared tables owns them for everybody.
        let owner = (of.tenant.isolation != Isolation::Shared).then_some(&of.tenant.owner);
        // The application's roles first: the owner granted them what they have.
        for role in users.chain(owner) {
            if same_cluster && used.contains(&role) {
                roles.staying.push(role.clone());
            } else {
                roles.going.push(role.clone());
            }
        }
        let server = self.cx.servers.session(&of.tenant.placement.cluster, None).await?;
        roles.logins = life::second_logins(&server, &roles.going).await?;
        let second = life::second_logins(&server, &roles.staying).await?;
        roles.staying.extend(second);
        Ok(roles)
    }
}
