use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;

use super::{Candidate, NewPolicy, PolicyInForce, store};
use crate::{
    audit::{self, Event},
    backups::{Backups, Error, Policy},
    identity::Role,
    instances::{self, Instance},
    kernel::{Actor, InstanceId},
};

/// A turn that was not begun so long after its time was missed.
const BEGUN_WITHIN: TimeDelta = TimeDelta::minutes(10);

impl Backups {
    pub(super) async fn policy(
        &self,
        actor: &Actor,
        id: InstanceId,
    ) -> Result<PolicyInForce, Error> {
        let (mut tx, _) = self.parts.instances.open(actor, id, Role::Viewer).await?;
        let it = candidate(&mut tx, id).await?;
        self.in_force(&mut tx, it).await
    }

    /// Gives the instance a policy of its own, or with `None` the
    /// installation's.
    pub(super) async fn set_policy(
        &self,
        actor: &Actor,
        id: InstanceId,
        policy: Option<NewPolicy>,
    ) -> Result<PolicyInForce, Error> {
        let policy = policy.map(NewPolicy::check).transpose()?;
        let (mut tx, instance) = self.parts.instances.open_live(actor, id).await?;
        let before = candidate(&mut tx, id).await?;
        if before.policy == policy {
            return self.in_force(&mut tx, before).await;
        }
        let now = self.now();
        let key = (id, instance.project);
        match &policy {
            Some(policy) => store::set(&mut tx, key, policy, now).await?,
            None => store::delete(&mut tx, id).await?,
        }
        // A new time of the day is no missed turn of the old one.
        if times(&before.policy) != times(&policy) {
            store::set_turn(&mut tx, key, now, false).await?;
        }
        audit::record(&mut tx, actor, now, event(&instance, policy.as_ref())).await?;
        let after = candidate(&mut tx, id).await?;
        let after = self.in_force(&mut tx, after).await?;
        tx.commit().await?;
        Ok(after)
    }

    async fn in_force(&self, tx: &mut PgConnection, it: Candidate) -> Result<PolicyInForce, Error> {
        let (settings, now) = (&self.parts.settings, self.now());
        let turn = it.next_turn(settings);
        let last = store::last_turn(tx, it.instance).await?;
        let missed = turn.filter(|at| *at < now - BEGUN_WITHIN);
        let late_since = last.in_vain.or(missed);
        let own_times = it.policy.as_ref().is_some_and(|it| it.schedule.is_some());
        Ok(PolicyInForce {
            inherited: it.policy.is_none(),
            window: match own_times {
                true => TimeDelta::zero(),
                false => settings.window,
            },
            policy: it.policy.unwrap_or_else(|| Policy {
                enabled: settings.schedule.is_some(),
                schedule: settings.schedule.as_ref().map(ToString::to_string),
                keep: Some(settings.keep),
            }),
            next_at: turn.map(|at| at.max(now)),
            late_since: late_since.filter(|_| turn.is_some() && !last.under_way),
        })
    }
}

async fn candidate(tx: &mut PgConnection, id: InstanceId) -> Result<Candidate, Error> {
    let found = store::candidate(tx, id).await?;
    Ok(found.ok_or(instances::Error::NotFound)?)
}

/// What decides over the turns.
fn times(policy: &Option<Policy>) -> Option<(bool, Option<&str>)> {
    let policy = policy.as_ref()?;
    Some((policy.enabled, policy.schedule.as_deref()))
}

fn event(instance: &Instance, policy: Option<&Policy>) -> Event {
    let detail = match policy {
        None => json!({"inherited": true}),
        Some(it) => json!({"enabled": it.enabled, "schedule": it.schedule, "keep": it.keep}),
    };
    Event::new(
        "instance.backup_policy",
        Some(instance.project),
        "instance",
        instance.id,
        &instance.name,
    )
    .with(detail)
}
