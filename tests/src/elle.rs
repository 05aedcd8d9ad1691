//! Judges histories of transactions that append to lists: what orders could explain them?
//!
//! After Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations". Each value is
//! appended once, and a list shows all that was appended to it, in order. So the longest list that anyone has read gives
//! the order of the writes, and every read shows how far that had come. From this follows what depends on what:
//!
//! | edge | from | to |
//! | --- | --- | --- |
//! | ww | who appended a value | who appended the next |
//! | wr | who appended a value | who read a list that ends with it |
//! | rw | who read a list | who appended the next value to it |
//! | rt | who had ended | who began after that |
//!
//! A cycle is something that no serial order explains.
//!
//! A commit whose outcome is unknown may have happened: it has where somebody has read what it appended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// A value appended to a list. Each is used once.
pub type Value = u32;

/// Something that a transaction has seen or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It has read a list.
    Read(u32, Vec<Value>),
    /// It has appended to a list.
    Append(u32, Value),
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its commit returned `Ok`.
    Committed,
    /// It was rolled back, or refused.
    Aborted,
    /// Its commit failed in a way that leaves open whether it has happened.
    Unknown,
}

/// What a transaction has seen and done, and what became of it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// In their order.
    pub events: Vec<Event>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it began and ended, by any counter that goes up.
    pub time: (u64, u64),
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edge {
    /// Both have written, in this order.
    Ww,
    /// It read what the first wrote.
    Wr,
    /// It overwrote what the first read.
    Rw,
    /// It began after the first had ended.
    Rt,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// Somebody has read what was never committed.
    DirtyRead(usize, Value),
    /// Two have read lists of which neither begins with the other, or one has not seen its own append.
    NoOrder(usize, u32),
    /// A committed append is in no list that was read at the end.
    Lost(usize, Value),
    /// Transactions that each depend on the one before, around to the first.
    Cycle(Vec<(usize, Edge)>),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anomaly::Cycle(cycle) => {
                cycle.iter().try_for_each(|(transaction, edge)| write!(f, "T{transaction} -{edge:?}-> "))?;
                write!(f, "T{}", cycle.first().map_or(0, |first| first.0))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// What depends on what.
#[derive(Clone, Debug)]
pub struct Graph {
    edges: Vec<Vec<(usize, Edge)>>,
}

/// The dependencies in `history`, whose last transaction has read all lists after all others had ended.
///
/// # Errors
/// Reads that no order of the appends explains.
pub fn graph(history: &[Observed]) -> Result<Graph, Anomaly> {
    let history = &settled(history);
    let writers = writers(history);
    let orders = orders(history)?;
    let mut edges = vec![HashSet::new(); history.len()];
    let mut add = |from: usize, to: usize, edge: Edge| {
        if from != to {
            edges[from].insert((to, edge));
        }
    };
    for (reader, event) in events(history) {
        match event {
            Event::Read(key, list) => {
                // A transaction's own appends, which it reads back, are the last of its list.
                let foreign: Vec<_> = list.iter().filter(|value| writers.get(value) != Some(&reader)).collect();
                for value in list {
                    if !writers.get(value).is_some_and(|writer| history[*writer].is_committed() || *writer == reader) {
                        return Err(Anomaly::DirtyRead(reader, *value));
                    }
                }
                if let Some(last) = foreign.last() {
                    add(writers[*last], reader, Edge::Wr);
                }
                if let Some(next) = orders.get(key).and_then(|order| order.get(foreign.len())) {
                    add(reader, writers[next], Edge::Rw);
                }
            }
            Event::Append(key, value) => {
                let order = orders.get(key).map_or(&[][..], Vec::as_slice);
                let Some(place) = order.iter().position(|other| other == value) else {
                    return Err(Anomaly::Lost(reader, *value));
                };
                if let Some(next) = order.get(place + 1) {
                    add(reader, writers[next], Edge::Ww);
                }
            }
        }
    }
    for (second, other) in history.iter().enumerate().filter(|(_, other)| other.is_committed()) {
        let before = |one: &&Observed| one.is_committed() && one.time.1 < other.time.0;
        // Whoever ended before one of these began comes before it, and so before the second.
        let last_began = history.iter().filter(before).map(|one| one.time.0).max().unwrap_or(0);
        for (first, _) in history.iter().enumerate().filter(|(_, one)| before(one) && one.time.1 >= last_began) {
            add(first, second, Edge::Rt);
        }
    }
    let sorted = |edges: HashSet<(usize, Edge)>| {
        let mut edges: Vec<_> = edges.into_iter().collect();
        edges.sort_unstable();
        edges
    };
    Ok(Graph { edges: edges.into_iter().map(sorted).collect() })
}

impl Observed {
    fn is_committed(&self) -> bool {
        self.outcome == Outcome::Committed
    }

    fn appends(&self) -> impl Iterator<Item = Value> {
        self.events.iter().filter_map(|event| match event {
            Event::Append(_, value) => Some(*value),
            Event::Read(..) => None,
        })
    }
}

/// `history` without unknown outcomes: what somebody has read whose own commit counts was committed, no one knows when.
fn settled(history: &[Observed]) -> Vec<Observed> {
    let mut history = history.to_vec();
    loop {
        let lists = events(&history).filter_map(|(_, event)| match event {
            Event::Read(_, list) => Some(list),
            Event::Append(..) => None,
        });
        let read: HashSet<Value> = lists.flatten().copied().collect();
        let found = history
            .iter_mut()
            .find(|one| one.outcome == Outcome::Unknown && one.appends().any(|value| read.contains(&value)));
        let Some(found) = found else { return history };
        (found.outcome, found.time.1) = (Outcome::Committed, u64::MAX);
    }
}

/// What committed transactions have seen and done.
fn events(history: &[Observed]) -> impl Iterator<Item = (usize, &Event)> {
    let committed = history.iter().enumerate().filter(|(_, one)| one.is_committed());
    committed.flat_map(|(number, one)| one.events.iter().map(move |event| (number, event)))
}

fn writers(history: &[Observed]) -> HashMap<Value, usize> {
    let mut writers = HashMap::new();
    for (number, one) in history.iter().enumerate() {
        writers.extend(one.appends().map(|value| (value, number)));
    }
    writers
}

/// The order of the appends to each list: the longest that was read, which all others begin.
fn orders(history: &[Observed]) -> Result<BTreeMap<u32, Vec<Value>>, Anomaly> {
    let mut orders: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
    let reads = || {
        events(history).filter_map(|(number, event)| match event {
            Event::Read(key, list) => Some((number, *key, list)),
            Event::Append(..) => None,
        })
    };
    for (_, key, list) in reads() {
        let longest = orders.entry(key).or_default();
        if list.len() > longest.len() {
            *longest = list.clone();
        }
    }
    match reads().find(|(_, key, list)| !orders[key].starts_with(list)) {
        Some((number, key, _)) => Err(Anomaly::NoOrder(number, key)),
        None => Ok(orders),
    }
}

impl Graph {
    /// A cycle of edges of these kinds, if there is one: the history is not explained by any order that they ask for.
    pub fn cycle(&self, kinds: &[Edge]) -> Option<Anomaly> {
        (0..self.edges.len()).find_map(|start| self.path(start, start, kinds)).map(Anomaly::Cycle)
    }

    /// A cycle with one edge of kind rw, and else ww and wr: what snapshot isolation does not allow either.
    pub fn single_cycle(&self) -> Option<Anomaly> {
        for (reader, edges) in self.edges.iter().enumerate() {
            for (writer, _) in edges.iter().filter(|(_, edge)| *edge == Edge::Rw) {
                if let Some(path) = self.path(*writer, reader, &[Edge::Ww, Edge::Wr]) {
                    return Some(Anomaly::Cycle([vec![(reader, Edge::Rw)], path].concat()));
                }
            }
        }
        None
    }

    /// The shortest way along edges of these kinds; around, where both ends are one.
    fn path(&self, from: usize, to: usize, kinds: &[Edge]) -> Option<Vec<(usize, Edge)>> {
        let mut came: HashMap<usize, (usize, Edge)> = HashMap::new();
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for (next, edge) in self.edges[at].iter().filter(|(_, edge)| kinds.contains(edge)) {
                if *next != to && (*next == from || came.contains_key(next)) {
                    continue;
                }
                if *next == to {
                    let mut path = vec![(at, *edge)];
                    let mut place = at;
                    while place != from {
                        let (before, edge) = came[&place];
                        path.push((before, edge));
                        place = before;
                    }
                    path.reverse();
                    return Some(path);
                }
                came.insert(*next, (at, *edge));
                queue.push_back(*next);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Edge::{Rt, Rw, Wr, Ww};
    use super::Event::{Append, Read};
    use super::*;

    const ALL: [Edge; 4] = [Ww, Wr, Rw, Rt];

    /// Transactions that all overlap.
    fn history(transactions: &[&[Event]]) -> Vec<Observed> {
        let observed =
            |events: &&[Event]| Observed { events: events.to_vec(), outcome: Outcome::Committed, time: (0, 9) };
        transactions.iter().map(observed).collect()
    }

    fn read(key: u32, list: &[Value]) -> Event {
        Read(key, list.to_vec())
    }

    fn cycle(history: &[Observed], kinds: &[Edge]) -> Option<Vec<(usize, Edge)>> {
        match graph(history).expect("an order explains it").cycle(kinds) {
            Some(Anomaly::Cycle(cycle)) => Some(cycle),
            _ => None,
        }
    }

    #[test]
    fn a_serial_history_is_content() {
        let serial = history(&[
            &[Append(1, 10), Append(2, 20)],
            &[read(1, &[10]), Append(1, 11), read(1, &[10, 11])],
            &[read(1, &[10, 11]), read(2, &[20])],
        ]);
        assert_eq!(cycle(&serial, &ALL), None);
    }

    /// G0: each comes first in one list.
    #[test]
    fn crossed_writes_are_found() {
        let crossed = history(&[
            &[Append(1, 10), Append(2, 20)],
            &[Append(1, 11), Append(2, 21)],
            &[read(1, &[10, 11]), read(2, &[21, 20])],
        ]);
        assert_eq!(cycle(&crossed, &[Ww]), Some(vec![(0, Ww), (1, Ww)]));
    }

    /// G1a: what was rolled back was read.
    #[test]
    fn aborted_reads_are_found() {
        let mut aborted = history(&[&[Append(1, 10)], &[read(1, &[10])]]);
        aborted[0].outcome = Outcome::Aborted;
        assert_eq!(graph(&aborted).err(), Some(Anomaly::DirtyRead(1, 10)));
    }

    /// G1b: what a transaction has overwritten itself was read.
    #[test]
    fn intermediate_reads_are_found() {
        let intermediate = history(&[&[Append(1, 10), Append(1, 11)], &[read(1, &[10])], &[read(1, &[10, 11])]]);
        assert_eq!(cycle(&intermediate, &ALL), Some(vec![(0, Wr), (1, Rw)]));
        assert!(graph(&intermediate).expect("an order explains it").single_cycle().is_some());
    }

    /// G1c: each has read what the other one wrote.
    #[test]
    fn circular_reads_are_found() {
        let circular = history(&[&[Append(1, 10), read(2, &[20])], &[Append(2, 20), read(1, &[10])]]);
        assert_eq!(cycle(&circular, &[Wr]), Some(vec![(0, Wr), (1, Wr)]));
    }

    /// G-single, a read that was torn: one list as it was before, the other as it was after.
    #[test]
    fn torn_reads_are_found() {
        let torn = history(&[
            &[Append(1, 10), Append(2, 20)],
            &[read(1, &[10]), read(2, &[])],
            &[read(1, &[10]), read(2, &[20])],
        ]);
        assert_eq!(cycle(&torn, &[Ww, Wr]), None);
        assert!(graph(&torn).expect("an order explains it").single_cycle().is_some());
    }

    /// G2 over three: each reads the list that the next one appends to.
    #[test]
    fn wider_skew_is_found() {
        let skew = history(&[
            &[read(2, &[]), Append(1, 10)],
            &[read(3, &[]), Append(2, 20)],
            &[read(1, &[]), Append(3, 30)],
            &[read(1, &[10]), read(2, &[20]), read(3, &[30])],
        ]);
        assert!(graph(&skew).expect("an order explains it").single_cycle().is_none());
        assert_eq!(cycle(&skew, &ALL), Some(vec![(0, Rw), (1, Rw), (2, Rw)]));
    }

    /// A commit of unknown outcome has happened if it was read, by way of others as well; then it counts, all of it.
    #[test]
    fn unknown_outcomes_are_settled_by_who_reads_them() {
        let unknown = |transactions: &[&[Event]]| {
            let mut all = history(transactions);
            all[0].outcome = Outcome::Unknown;
            all[1].outcome = Outcome::Unknown;
            all
        };
        let unread = unknown(&[&[Append(1, 10)], &[Append(1, 11)], &[read(1, &[])]]);
        assert_eq!(cycle(&unread, &ALL), None);
        // The second was read, and has read the first.
        let read_on = unknown(&[&[Append(1, 10)], &[read(1, &[10]), Append(2, 20)], &[read(2, &[20]), read(1, &[])]]);
        assert_eq!(cycle(&read_on, &ALL), Some(vec![(0, Wr), (1, Wr), (2, Rw)]));
        let torn = unknown(&[
            &[Append(1, 10), Append(2, 20)],
            &[Append(3, 30)],
            &[read(1, &[10]), read(2, &[])],
            &[read(2, &[20])],
        ]);
        assert!(graph(&torn).expect("an order explains it").single_cycle().is_some());
        // Nobody knows when it happened: later than what began after it has failed, for all we know.
        let mut late = unknown(&[&[Append(1, 10)], &[Append(2, 20)], &[read(1, &[])], &[read(1, &[10])]]);
        late[0].time = (0, 1);
        late[2].time = (2, 3);
        late[3].time = (4, 5);
        assert_eq!(cycle(&late, &ALL), None);
    }

    /// G2: write skew. Snapshot isolation lets it pass, and no order explains it.
    #[test]
    fn write_skew_is_found() {
        let skew = history(&[
            &[read(2, &[]), Append(1, 10)],
            &[read(1, &[]), Append(2, 20)],
            &[read(1, &[10]), read(2, &[20])],
        ]);
        assert!(graph(&skew).expect("an order explains it").single_cycle().is_none());
        assert_eq!(cycle(&skew, &ALL), Some(vec![(0, Rw), (1, Rw)]));
    }

    #[test]
    fn stale_reads_are_found() {
        let mut stale = history(&[&[Append(1, 10)], &[read(1, &[])], &[read(1, &[10])]]);
        assert_eq!(cycle(&stale, &ALL), None);
        stale[0].time = (0, 1);
        stale[1].time = (2, 3);
        stale[2].time = (4, 5);
        assert_eq!(cycle(&stale, &ALL), Some(vec![(0, Rt), (1, Rw)]));
    }

    #[test]
    fn reads_that_nothing_explains_are_found() {
        let mut dirty = history(&[&[Append(1, 10)], &[read(1, &[10])]]);
        dirty[0].outcome = Outcome::Aborted;
        assert_eq!(graph(&dirty).err(), Some(Anomaly::DirtyRead(1, 10)));
        let lost = history(&[&[Append(1, 10)], &[read(1, &[])]]);
        assert_eq!(graph(&lost).err(), Some(Anomaly::Lost(0, 10)));
        let no_order =
            history(&[&[Append(1, 10)], &[Append(1, 11)], &[read(1, &[10])], &[read(1, &[11])], &[read(1, &[10, 11])]]);
        assert_eq!(graph(&no_order).err(), Some(Anomaly::NoOrder(3, 1)));
    }
}
