//! The checkpoints that should be there, and what they should show: the model of what is kept by name.

use crate::history::{State, compare};
use crate::world::World;
use futures::TryStreamExt;
use std::collections::BTreeMap;

/// A checkpoint as the model knows it.
#[derive(Clone, Debug)]
struct Taken {
    /// What it may show: several states, where calls before were not answered.
    states: Vec<State>,
    /// Whether it is there; not known where a call on it was not answered, or with an error.
    there: Option<bool>,
}

/// All checkpoints of a store.
#[derive(Clone, Debug, Default)]
pub struct Kept(BTreeMap<String, Taken>);

/// The name of a number.
pub fn name(number: u8) -> String {
    format!("checkpoint {number}")
}

/// All that a checkpoint shows, by a scan, and by a look for each key.
///
/// # Errors
/// As the engine says.
pub async fn read(world: &World, name: &str) -> halite::Result<State> {
    let reader = world.open_at(name).await?;
    let found: State = reader.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await?;
    for key in (0..crate::ops::KEYS).map(crate::ops::key) {
        let value = reader.get(&key).await?;
        assert_eq!(value.as_ref(), found.get(&key), "get and scan differ in checkpoint {name}");
    }
    Ok(found)
}

impl Kept {
    /// `checkpoint` was called when the database showed `state`; whether it was taken is known for certain where it was.
    ///
    /// # Errors
    /// That it was taken although there was one.
    pub fn taken(&mut self, name: &str, state: State, sure: bool) -> Result<(), String> {
        let before = self.0.get(name).and_then(|taken| taken.there);
        match (self.0.contains_key(name), before) {
            (true, Some(true)) if sure => return Err(format!("there was a checkpoint {name} already")),
            // A call that failed has left the one that was there.
            (true, Some(true)) => return Ok(()),
            _ => {}
        }
        let taken = self.0.entry(name.to_owned()).or_insert(Taken { states: Vec::new(), there: None });
        if sure || taken.there == Some(false) {
            taken.states.clear();
        }
        taken.states.push(state);
        taken.there = sure.then_some(true);
        Ok(())
    }

    /// `checkpoint` was told that there is one of that name.
    ///
    /// # Errors
    /// That there is none.
    pub fn is_refused(&mut self, name: &str) -> Result<(), String> {
        match self.0.get_mut(name) {
            Some(taken) if taken.there != Some(false) => {
                taken.there = Some(true);
                Ok(())
            }
            _ => Err(format!("there is no checkpoint {name}, but it is refused")),
        }
    }

    /// `delete_checkpoint` gave this answer, if any.
    ///
    /// # Errors
    /// That it is the wrong one.
    pub fn deleted(&mut self, name: &str, answer: Option<bool>) -> Result<(), String> {
        let there = self.0.get(name).map_or(Some(false), |taken| taken.there);
        if let (Some(answer), Some(there)) = (answer, there)
            && answer != there
        {
            return Err(format!("checkpoint {name}: there={there}, but its deletion says {answer}"));
        }
        if let Some(taken) = self.0.get_mut(name)
            && taken.there != Some(false)
        {
            taken.there = answer.map(|_| false);
        }
        Ok(())
    }

    /// These are there.
    ///
    /// # Errors
    /// Where one is missing, or there that must not be.
    pub fn settle<'a>(&mut self, listed: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let listed: Vec<&str> = listed.collect();
        if let Some(unknown) = listed.iter().find(|name| !self.0.contains_key(**name)) {
            return Err(format!("checkpoint {unknown} was never taken"));
        }
        for (name, taken) in &mut self.0 {
            let is_there = listed.contains(&&**name);
            if taken.there.is_some_and(|there| there != is_there) {
                return Err(format!("checkpoint {name}: there={is_there}, which is wrong"));
            }
            taken.there = Some(is_there);
        }
        Ok(())
    }

    /// That is what it shows.
    ///
    /// # Errors
    /// Where it should show something else.
    pub fn compare(&self, name: &str, found: &State) -> Result<(), String> {
        let taken = self.0.get(name).ok_or_else(|| format!("checkpoint {name} was never taken"))?;
        let mut outcomes = taken.states.iter().map(|state| compare(state, found));
        let first = outcomes.next().unwrap_or(Ok(()));
        if first.is_ok() || outcomes.any(|outcome| outcome.is_ok()) {
            return Ok(());
        }
        first.map_err(|wrong| format!("checkpoint {name}: {wrong}"))
    }
}
