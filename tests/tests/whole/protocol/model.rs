//! The model: what writers do with the storage, one call of the backend at a time.
//!
//! On fragments and on growing files. A writer opens, commits, may seal, may close, and opens once more if it was overtaken
//! while it did; what it has retired is deleted at any later time, though others own the store by then. On fragments it may have
//! several commits under way, beside each other and beside its manifests. What writers decide, the engine's own functions
//! decide ([`halite::protocol`]).

mod under_way;

use halite::protocol::{self, Reign};
use std::collections::{BTreeMap, BTreeSet};
use under_way::{Sending, Sent};

/// A set of commits: one bit each.
pub(super) type Commits = u16;

/// Commits that each writer makes at most.
pub(super) const COMMITS: u8 = 3;

/// A rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Canary {
    /// The claim on a writer that did not close is collected like any other manifest.
    ClaimsNotKept,
    /// The fence is deleted with the log that it ends.
    FencesNotKept,
    /// The log is replayed without a fence.
    NoFence,
    /// The folder is not listed after a manifest was created.
    NoList,
    /// Nobody looks for a claim before it acknowledges.
    NoLook,
    /// The old log is deleted before the manifest that replaces it is there.
    DeleteFirst,
    /// A name that is taken counts as one's own.
    TakenIsOwn,
    /// A fragment is acknowledged when it is there, whatever has become of those before it.
    AcknowledgedAhead,
    /// The fence is set behind all fragments that are there.
    FencedBehindGap,
    /// A replay passes over a number that is absent where more stands behind it.
    GapSkipped,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) grows: bool,
    /// Commits that each writer makes.
    pub(super) commits: [u8; 2],
    /// Fragments that a writer has under way at once.
    pub(super) window: usize,
    /// How often a writer opens, if it is overtaken while it does.
    pub(super) openings: u8,
    /// Answers that may get lost, with the request done, not done, or done later.
    pub(super) lost: u8,
    /// Requests that may arrive a second time, later.
    pub(super) repeated: u8,
    pub(super) canary: Option<Canary>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Manifest {
    reign: Reign,
    write_nonce: u64,
    /// Whose log it is that begins at `first`: a writer's number is its claim's nonce.
    log_of: u8,
    first: u8,
    sealed: Commits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Manifest(u64),
    /// A fragment, or a growing file, of a reign's log.
    Log(u8, u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Object {
    Manifest(Manifest),
    Fragment { commits: Commits, write_nonce: u64 },
    Fence { write_nonce: u64 },
    File(Commits),
}

impl Object {
    fn write_nonce(&self) -> u64 {
        match self {
            Object::Manifest(manifest) => manifest.write_nonce,
            Object::Fragment { write_nonce, .. } | Object::Fence { write_nonce } => *write_nonce,
            Object::File(_) => 0,
        }
    }
}

/// What a create is for, and so what comes after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum For {
    Claim,
    /// The manifest that makes a replay real, a seal, or a close.
    Publish(Then),
    Fence,
}

/// What a writer does once its manifest is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Write,
    End,
}

/// Where a writer is: what its next call will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// It lists the manifests.
    Look,
    /// It reads the newest of what it has listed.
    ReadNewest(u64),
    Create(Name, Object, For),
    /// The name was taken: it reads what is there.
    ReadTaken(Name, Object, For),
    /// It lists the manifests after it has created one.
    List(For),
    /// It deletes the manifests that it needs no more.
    Forget(BTreeSet<u64>, For),
    /// It reads the old log from here on; so far these commits were in it.
    Replay(u8, Commits),
    /// It has the log open and may commit, seal or close.
    Open,
    /// It has appended, and looks whether it has been overtaken.
    LookForClaim(Commits),
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    /// Its number in this reign; another one in the next.
    id: u8,
    step: Step,
    /// Its newest manifest.
    newest: Option<Manifest>,
    /// The next name of its log, and the first that is not sealed.
    next: u8,
    first: u8,
    /// Its fragments under way, oldest first.
    under_way: Vec<Sent>,
    commits: u8,
    may_seal: bool,
    /// Whose log it has replayed, and up to where.
    replayed: Option<(u8, u8)>,
    /// Openings left.
    openings: u8,
    nonces: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    store: BTreeMap<Name, Object>,
    writers: [Writer; 2],
    /// What may be deleted, at any time.
    garbage: BTreeSet<Name>,
    /// Creates that are still on their way.
    late: Vec<(Name, Object)>,
    pub(super) acknowledged: Commits,
    lost: u8,
    repeated: u8,
}

impl State {
    pub(super) fn first(plan: &Plan) -> State {
        let reign = Reign { number: 0, epoch: 0, log_epoch: 0, log_is_open: false, kept_claims: Vec::new() };
        let manifest = Manifest { reign, write_nonce: 0, log_of: 0, first: 0, sealed: 0 };
        let writer = |id| Writer {
            id,
            step: Step::Look,
            newest: None,
            next: 0,
            first: 0,
            under_way: Vec::new(),
            commits: 0,
            may_seal: true,
            replayed: None,
            openings: plan.openings,
            nonces: 0,
        };
        State {
            store: BTreeMap::from([(Name::Manifest(0), Object::Manifest(manifest))]),
            writers: [writer(1), writer(2)],
            garbage: BTreeSet::new(),
            late: Vec::new(),
            acknowledged: 0,
            lost: plan.lost,
            repeated: plan.repeated,
        }
    }

    fn manifests(&self) -> Vec<u64> {
        let number = |name: &Name| if let Name::Manifest(number) = name { Some(*number) } else { None };
        self.store.keys().filter_map(number).collect()
    }

    /// What a writer that opened now, undisturbed, would find.
    pub(super) fn recovered(&self) -> Commits {
        let newest = self.manifests().into_iter().max().and_then(|number| self.store.get(&Name::Manifest(number)));
        let Some(Object::Manifest(manifest)) = newest else { return 0 };
        let mut found = manifest.sealed;
        for number in manifest.first.. {
            match self.store.get(&Name::Log(manifest.log_of, number)) {
                Some(Object::Fragment { commits, .. } | Object::File(commits)) => found |= commits,
                _ => break,
            }
        }
        found
    }

    /// All states that one step of anybody leads to.
    pub(super) fn next(&self, plan: &Plan, out: &mut Vec<State>) {
        for writer in 0..2 {
            self.step(plan, writer, out);
            for sent in 0..self.writers[writer].under_way.len() {
                self.sends(plan, writer, sent, out);
            }
        }
        for name in &self.garbage {
            let mut state = self.clone();
            state.garbage.remove(name);
            state.store.remove(name);
            out.push(state);
        }
        for index in 0..self.late.len() {
            let mut state = self.clone();
            let (name, object) = state.late.remove(index);
            state.store.entry(name).or_insert(object);
            out.push(state);
        }
    }

    /// The same with writer `index` at `step`.
    fn at(&self, index: usize, step: Step) -> State {
        let mut state = self.clone();
        state.writers[index].step = step;
        state
    }

    fn step(&self, plan: &Plan, index: usize, out: &mut Vec<State>) {
        let writer = &self.writers[index];
        match &writer.step {
            Step::Look => {
                let newest = self.manifests().into_iter().max().expect("there is always one");
                out.push(self.at(index, Step::ReadNewest(newest)));
            }
            Step::ReadNewest(number) => match self.store.get(&Name::Manifest(*number)) {
                Some(Object::Manifest(newest)) => out.push(self.claims(plan, index, newest.clone())),
                // Deleted since: another one is newer.
                _ => out.push(self.at(index, Step::Look)),
            },
            Step::Create(name, object, why) => self.create(plan, index, (*name, object, why), out),
            Step::ReadTaken(name, object, why) => {
                let own = match self.store.get(name) {
                    Some(there) => protocol::is_own(there.write_nonce(), object.write_nonce()),
                    // Deleted since: what is not known of a manifest or commit ends the writer.
                    None => return out.push(self.ends(index)),
                };
                out.push(match why {
                    _ if own || plan.canary == Some(Canary::TakenIsOwn) => self.created(plan, index, object, why),
                    // The old writer was quicker, or a fence is there already: it is read.
                    For::Fence => self.replays(plan, index),
                    For::Claim => self.begins_again(index),
                    For::Publish(_) => self.ends(index),
                });
            }
            Step::List(why) => {
                let own = writer.newest.as_ref().expect("it has created one").reign.number;
                let listed = self.manifests();
                let overtaken = protocol::overtaken_by(own, &listed).is_some() && plan.canary != Some(Canary::NoList);
                out.push(match why {
                    For::Claim if overtaken => self.begins_again(index),
                    _ if overtaken => self.ends(index),
                    _ => self.at(index, Step::Forget(listed.into_iter().collect(), why.clone())),
                });
            }
            Step::Forget(listed, why) => out.push(self.forgets(plan, index, listed, why)),
            Step::Replay(..) => out.push(self.replays(plan, index)),
            Step::Open => self.goes_on(plan, index, out),
            Step::LookForClaim(commits) => {
                let own = writer.newest.as_ref().expect("it has the store open").reign.number;
                let claimed = self.store.contains_key(&Name::Manifest(protocol::claim_on(own)));
                out.push(match claimed && plan.canary != Some(Canary::NoLook) {
                    true => self.ends(index),
                    false => {
                        let mut state = self.at(index, Step::Open);
                        state.acknowledged |= commits;
                        state
                    }
                });
            }
            Step::Ended => {}
        }
    }

    fn claims(&self, plan: &Plan, index: usize, newest: Manifest) -> State {
        let mut state = self.clone();
        let writer = &mut state.writers[index];
        let mut claim = newest;
        claim.reign = claim.reign.claimed();
        if plan.canary == Some(Canary::ClaimsNotKept) {
            claim.reign.kept_claims.clear();
        }
        claim.write_nonce = writer.nonce();
        writer.step = Step::Create(Name::Manifest(claim.reign.number), Object::Manifest(claim), For::Claim);
        state
    }

    /// A create that is for something, with all that may become of it.
    fn create(&self, plan: &Plan, index: usize, request: (Name, &Object, &For), out: &mut Vec<State>) {
        let (name, object, why) = request;
        self.request(name, object, out, |state, taken| match taken {
            false => state.created(plan, index, object, why),
            true => state.at(index, Step::ReadTaken(name, object.clone(), why.clone())),
        });
    }

    /// A create, with all that may become of it and of its answer, which `answered` is given: whether the name was taken.
    fn request(&self, name: Name, object: &Object, out: &mut Vec<State>, answered: impl Fn(&State, bool) -> State) {
        let taken = self.store.contains_key(&name);
        let mut done = self.clone();
        done.store.entry(name).or_insert_with(|| object.clone());
        let answered = answered(&done, taken);
        if self.repeated > 0 {
            let mut state = answered.clone();
            state.repeated -= 1;
            state.late.push((name, object.clone()));
            out.push(state);
        }
        out.push(answered);
        if self.lost > 0 {
            // The same is sent again: done, not done, and done later.
            done.lost -= 1;
            out.push(done);
            let mut not_done = self.clone();
            not_done.lost -= 1;
            let mut later = not_done.clone();
            later.late.push((name, object.clone()));
            out.extend([not_done, later]);
        }
    }

    /// What a writer does when its create has succeeded.
    fn created(&self, plan: &Plan, index: usize, object: &Object, why: &For) -> State {
        let mut state = self.clone();
        let writer = &mut state.writers[index];
        match (why, object) {
            (For::Fence, _) => return state.publishes_replay(plan, index),
            (_, Object::Manifest(manifest)) => writer.newest = Some(manifest.clone()),
            _ => unreachable!("claims and publications are manifests"),
        }
        writer.step = Step::List(why.clone());
        state
    }

    fn forgets(&self, plan: &Plan, index: usize, listed: &BTreeSet<u64>, why: &For) -> State {
        let mut state = self.clone();
        let own = self.writers[index].newest.clone().expect("it has created one");
        for number in
            listed.iter().filter(|number| **number < own.reign.number && !own.reign.kept_claims.contains(number))
        {
            state.store.remove(&Name::Manifest(*number));
        }
        match why {
            For::Claim if own.reign.log_is_open => state.at(index, Step::Replay(own.first, 0)),
            For::Claim => state.publishes_replay(plan, index),
            For::Publish(then) => {
                state.retires(plan, index, &own);
                state.at(index, if *then == Then::Write { Step::Open } else { Step::Ended })
            }
            For::Fence => unreachable!("no manifest was created"),
        }
    }

    /// What was replayed or sealed may be deleted from now on: not the fence that ends it.
    fn retires(&mut self, plan: &Plan, index: usize, own: &Manifest) {
        let writer = &mut self.writers[index];
        let fence = u8::from(plan.canary == Some(Canary::FencesNotKept));
        let (replayed, id) = (writer.replayed.take(), writer.id);
        let ours = (0..own.first).map(|number| Name::Log(id, number));
        let mut all: Vec<_> = ours.collect();
        if let Some((of, end)) = replayed {
            // And what lies behind the fence.
            let beyond = self.fragments(of).map(|(number, _)| number).filter(|number| *number > end);
            all.extend((0..end + fence).chain(beyond).map(|number| Name::Log(of, number)));
        }
        self.garbage.extend(all.into_iter().filter(|name| self.store.contains_key(name)));
    }

    /// Reads the next part of the old log.
    fn replays(&self, plan: &Plan, index: usize) -> State {
        let writer = &self.writers[index];
        let claim = writer.newest.as_ref().expect("it has claimed");
        let (at, found) = writer.replaying();
        let name = Name::Log(claim.log_of, at);
        match self.store.get(&name) {
            Some(Object::Fragment { commits, .. } | Object::File(commits)) => {
                self.at(index, Step::Replay(at + 1, found | commits))
            }
            Some(_) => self.at(index, Step::Replay(at, found)).publishes_replay(plan, index),
            None if plan.grows || plan.canary == Some(Canary::NoFence) => {
                self.at(index, Step::Replay(at, found)).publishes_replay(plan, index)
            }
            None if plan.canary == Some(Canary::GapSkipped)
                && self.fragments(claim.log_of).any(|(number, _)| number > at) =>
            {
                self.at(index, Step::Replay(at + 1, found))
            }
            None => {
                let listed: Vec<u64> = self.fragments(claim.log_of).map(|(number, _)| number.into()).collect();
                let fence = match plan.canary {
                    Some(Canary::FencedBehindGap) => listed.iter().map(|last| last + 1).fold(at.into(), u64::max),
                    _ => protocol::fence_at(at.into(), &listed),
                };
                let name = Name::Log(claim.log_of, fence as u8);
                let mut state = self.clone();
                let writer = &mut state.writers[index];
                let write_nonce = writer.nonce();
                // Where the fence goes tells how far the log was read.
                writer.first = at;
                writer.newest.as_mut().expect("it has claimed").sealed |= found;
                writer.step = Step::Create(name, Object::Fence { write_nonce }, For::Fence);
                state
            }
        }
    }

    /// The manifest that makes the replay real, and names the log of this reign.
    fn publishes_replay(&self, plan: &Plan, index: usize) -> State {
        let mut state = self.clone();
        let writer = &mut state.writers[index];
        let (at, found) = writer.replaying();
        let mut manifest = writer.newest.clone().expect("it has claimed");
        manifest.sealed |= found;
        manifest.reign.number += 1;
        manifest.reign.log_epoch = manifest.reign.epoch;
        manifest.reign.log_is_open = true;
        let old = manifest.log_of;
        writer.replayed = Some((old, at));
        (manifest.log_of, manifest.first) = (writer.id, 0);
        manifest.write_nonce = writer.nonce();
        (writer.first, writer.next) = (0, 0);
        writer.step =
            Step::Create(Name::Manifest(manifest.reign.number), Object::Manifest(manifest), For::Publish(Then::Write));
        if plan.canary == Some(Canary::DeleteFirst) {
            state.store.retain(|name, _| !matches!(name, Name::Log(of, _) if *of == old));
        }
        state
    }

    /// What a writer may do that has the store open.
    fn goes_on(&self, plan: &Plan, index: usize, out: &mut Vec<State>) {
        let writer = &self.writers[index];
        let newest = writer.newest.as_ref().expect("it has the store open");
        if writer.commits < plan.commits[index] && (plan.grows || writer.under_way.len() < plan.window) {
            let mut state = self.clone();
            let writer = &mut state.writers[index];
            let commits = 1 << ((writer.id - 1) as Commits * Commits::from(COMMITS) + Commits::from(writer.commits));
            writer.commits += 1;
            let name = Name::Log(writer.id, writer.next);
            if plan.grows {
                match state.store.entry(name).or_insert(Object::File(0)) {
                    Object::File(file) => *file |= commits,
                    _ => unreachable!("growing files only"),
                }
                writer.step = Step::LookForClaim(commits);
            } else {
                let write_nonce = writer.nonce();
                writer.next += 1;
                writer.under_way.push(Sent { name, commits, write_nonce, step: Sending::Create });
            }
            out.push(state);
        }
        // What is under way is not sealed with the rest.
        let end = writer.next - writer.under_way.len() as u8;
        let sealable = self.fragments(writer.id).filter(|(number, _)| plan.grows || *number < end);
        let sealable =
            sealable.filter(|(number, _)| *number >= writer.first).fold(0, |all, (_, commits)| all | commits);
        let sealed = newest.sealed | sealable;
        if (writer.may_seal || writer.commits == plan.commits[index]) && sealed != newest.sealed {
            let thens = if writer.under_way.is_empty() { &[Then::Write, Then::End][..] } else { &[Then::Write] };
            for &then in thens {
                let mut state = self.clone();
                let writer = &mut state.writers[index];
                writer.may_seal = false;
                if plan.grows {
                    writer.next += 1;
                }
                writer.first = if plan.grows { writer.next } else { end };
                let mut manifest = newest.clone();
                manifest.reign.number += 1;
                manifest.write_nonce = writer.nonce();
                (manifest.sealed, manifest.first) = (sealed, writer.first);
                manifest.reign.log_is_open = then == Then::Write;
                writer.step =
                    Step::Create(Name::Manifest(manifest.reign.number), Object::Manifest(manifest), For::Publish(then));
                out.push(state);
            }
        }
    }

    /// The fragments, or files, of a log: their numbers, and what is in them.
    fn fragments(&self, of: u8) -> impl Iterator<Item = (u8, Commits)> {
        self.store.iter().filter_map(move |(name, object)| match (name, object) {
            (Name::Log(whose, number), Object::Fragment { commits, .. } | Object::File(commits)) if *whose == of => {
                Some((*number, *commits))
            }
            _ => None,
        })
    }

    /// It has been overtaken while it opened: it begins anew, as another reign.
    fn begins_again(&self, index: usize) -> State {
        let mut state = self.clone();
        let writer = &mut state.writers[index];
        writer.openings -= 1;
        writer.newest = None;
        writer.step = if writer.openings > 0 { Step::Look } else { Step::Ended };
        state
    }

    /// It stops. What it has under way may arrive all the same, at any later time.
    fn ends(&self, index: usize) -> State {
        let mut state = self.at(index, Step::Ended);
        let under_way = std::mem::take(&mut state.writers[index].under_way);
        let under_way = under_way.into_iter().filter(|sent| sent.step == Sending::Create);
        state.late.extend(
            under_way.map(|Sent { name, commits, write_nonce, .. }| (name, Object::Fragment { commits, write_nonce })),
        );
        state
    }
}

impl Writer {
    /// Another nonce for each thing that it creates.
    fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        u64::from(self.id) << 8 | u64::from(self.nonces)
    }

    /// How far it has read the old log, and what was in it.
    fn replaying(&self) -> (u8, Commits) {
        match &self.step {
            Step::Replay(at, found) => (*at, *found),
            // The fence stood in the way, or was made: what was read before is in the claim.
            _ => (self.first, 0),
        }
    }
}
