//! Transfers between accounts, several at once: whatever happens, the sum stays the same.
//!
//! Each is a transaction that reads the ledger and two accounts, and writes them: the ledger counts transfers, so that
//! their order is known. What was not answered may be the last of them, and no other.

use super::{Player, Step, Stop};
use crate::history::{Value, Write};
use crate::ops::{ACCOUNT, ACCOUNTS, LEDGER, key};
use crate::random::Random;
use crate::world::ends;
use futures::future::join_all;
use halite::{Db, Durability, ErrorKind, Transaction};
use std::time::Duration;

/// What an account begins with.
const BALANCE: i64 = 1000;

/// A transfer that was tried, as it was the last time.
struct Transfer {
    /// Its place in the order.
    number: i64,
    writes: Vec<Write>,
    conflicts: u64,
    outcome: halite::Result<()>,
}

impl Player<'_> {
    pub(super) async fn transfers(&mut self, count: u8, seed: u64, level: Durability) -> Step {
        let mut random = Random::new(seed);
        let jobs: Vec<_> = (0..count)
            .map(|_| {
                let from = random.below(u64::from(ACCOUNTS)) as u16;
                let to = (from + 1 + random.below(u64::from(ACCOUNTS) - 1) as u16) % ACCOUNTS;
                (ACCOUNT + from, ACCOUNT + to, random.below(300) as i64)
            })
            .collect();
        let db = self.db();
        let time = self.world.time();
        let balance = |account| self.world.history.value(&key(account), time).map_or(BALANCE, |value| number(&value));
        let sum: i64 = (ACCOUNT..ACCOUNT + ACCOUNTS).map(balance).sum();
        let transfers = jobs.iter().map(|&(from, to, amount)| transfer(&db, from, to, amount, level));
        let all = futures::future::join(join_all(transfers), audit(&db, sum));
        let (mut done, audited) = ends("transfers", all).await?;
        audited?;
        self.world.figures.conflicts += done.iter().map(|transfer| transfer.conflicts).sum::<u64>();
        // What has certainly not happened goes; what may have comes last.
        let is_refused = |transfer: &Transfer| matches!(&transfer.outcome, Err(error) if transfer.writes.is_empty() || error.kind() != ErrorKind::Unknown);
        let refused: Vec<_> =
            if self.is_dead() { Vec::new() } else { done.extract_if(.., |transfer| is_refused(transfer)).collect() };
        done.retain(|transfer| !transfer.writes.is_empty());
        done.sort_by_key(|transfer| (transfer.number, transfer.outcome.is_err()));
        let mut outcome = Ok(());
        for transfer in done {
            let commit = self.world.history.enter(transfer.writes);
            self.world.figures.transfers += u64::from(transfer.outcome.is_ok());
            match self.committed(commit, Ok(transfer.outcome), level) {
                Ok(()) => {}
                Err(Stop::Expected) => outcome = Err(Stop::Expected),
                wrong => return wrong,
            }
        }
        for transfer in refused {
            let answer = Ok(transfer.outcome);
            self.note(&answer);
            match self.settle("a transfer", answer) {
                Ok(()) => {}
                Err(Stop::Expected) => outcome = Err(Stop::Expected),
                wrong => return wrong,
            }
        }
        outcome
    }
}

/// Transfers `amount`, if there is so much.
async fn transfer(db: &Db, from: u16, to: u16, amount: i64, level: Durability) -> Transfer {
    for conflicts in 0.. {
        let transaction = db.begin();
        let mut number = 0;
        let (writes, outcome) = match attempt(&transaction, from, to, amount, &mut number).await {
            Ok(writes) => (writes, transaction.commit_with(level).await),
            Err(error) => (Vec::new(), Err(error)),
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < 60 => {
                // What it meets may be on its way to the disk.
                tokio::time::sleep(Duration::from_millis(1 << conflicts.min(12))).await;
            }
            outcome => return Transfer { number, writes, conflicts, outcome },
        }
    }
    unreachable!("the last attempt returns")
}

async fn attempt(
    transaction: &Transaction,
    from: u16,
    to: u16,
    amount: i64,
    count: &mut i64,
) -> halite::Result<Vec<Write>> {
    let mut found = [0; 3];
    for (found, number) in found.iter_mut().zip([LEDGER, from, to]) {
        let none = if number == LEDGER { 0 } else { BALANCE };
        *found = transaction.get(key(number)).await?.map_or(none, |value| self::number(&value));
        tokio::task::yield_now().await;
    }
    let [ledger, there, here] = found;
    let amount = amount.min(there);
    *count = ledger + 1;
    let numbers = [(LEDGER, ledger + 1), (from, there - amount), (to, here + amount)];
    let value = |number: i64| Value { bytes: number.to_string().into(), expires_at: None };
    let writes: Vec<Write> = numbers.iter().map(|&(account, number)| (key(account), Some(value(number)))).collect();
    for (key, value) in &writes {
        transaction.put(key, &value.as_ref().expect("all are puts").bytes)?;
    }
    Ok(writes)
}

/// Whenever one looks, the accounts hold `sum` together.
async fn audit(db: &Db, sum: i64) -> Result<(), String> {
    for turn in 0..6 {
        let snapshot = db.snapshot();
        let mut found = 0;
        for account in ACCOUNT..ACCOUNT + ACCOUNTS {
            match snapshot.get(key(account)).await {
                Ok(value) => found += value.map_or(BALANCE, |value| number(&value)),
                // Whether that may be the reads of the transfers themselves say.
                Err(_) => return Ok(()),
            }
        }
        if found != sum {
            return Err(format!("the bank holds {found} in place of {sum}"));
        }
        for _ in 0..turn * turn {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn number(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("only transfers write to accounts")
}
