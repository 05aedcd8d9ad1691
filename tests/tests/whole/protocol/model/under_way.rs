//! The fragments that a writer has under way: what may become of each, and which are acknowledged.

use super::{Canary, Commits, Name, Object, Plan, State};
use halite::protocol;

/// A fragment under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) name: Name,
    pub(super) commits: Commits,
    pub(super) write_nonce: u64,
    pub(super) step: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sending {
    Create,
    /// The name was taken: it reads what is there.
    ReadTaken,
    There,
}

impl State {
    /// What may become of one of the fragments under way.
    pub(super) fn sends(&self, plan: &Plan, index: usize, sent: usize, out: &mut Vec<State>) {
        let Sent { name, commits, write_nonce, step } = self.writers[index].under_way[sent];
        let goes_on = |state: &State, step| {
            let mut state = state.clone();
            state.writers[index].under_way[sent].step = step;
            state.acknowledges(plan, index);
            state
        };
        match step {
            Sending::Create => self.request(name, &Object::Fragment { commits, write_nonce }, out, |state, taken| {
                goes_on(state, if taken { Sending::ReadTaken } else { Sending::There })
            }),
            Sending::ReadTaken => {
                // What is not known of a commit ends the writer.
                let there = self.store.get(&name);
                let own = there.is_some_and(|there| protocol::is_own(there.write_nonce(), write_nonce));
                out.push(match own || plan.canary == Some(Canary::TakenIsOwn) {
                    true => goes_on(self, Sending::There),
                    false => self.ends(index),
                });
            }
            Sending::There => {}
        }
    }

    /// Acknowledges the fragments that are there, up to the first that is not.
    pub(super) fn acknowledges(&mut self, plan: &Plan, index: usize) {
        let under_way = &mut self.writers[index].under_way;
        let is_there = |sent: &&Sent| sent.step == Sending::There;
        let done = under_way.iter().take_while(is_there).count();
        let ahead = if plan.canary == Some(Canary::AcknowledgedAhead) { under_way.len() } else { done };
        let acknowledged = under_way.iter().take(ahead).filter(is_there).map(|sent| sent.commits);
        self.acknowledged |= acknowledged.fold(0, |all, commits| all | commits);
        under_way.drain(..done);
    }
}
