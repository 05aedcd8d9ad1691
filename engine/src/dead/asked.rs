//! The filters that a count asks: all of them, one after the other, where reads cost nothing. Where each is a request, those at
//! hand and a few others, chosen at random, of which each stands for some more.

use crate::Result;
use crate::core::Core;
use crate::format::filter::Filter;
use crate::segment::{FilterInHand, Segment};
use crate::version::Version;
use futures::future::try_join_all;
use halite_backends::Purpose;
use std::collections::HashMap;
use std::sync::Arc;

/// Filters that are read for one count where each is a request, all at once: as many at most,
const READ_MAX: usize = 16;
/// and as many as fit into the memory of seals and merges, but one at least.
const READ_MIN: usize = 1;

/// See the [module](self).
pub(super) enum Asked {
    All(FilterInHand),
    /// By the serials of their segments, each with the number of segments that it stands for.
    Some(HashMap<u64, (Filter, u64)>),
}

impl Asked {
    /// Chooses among the segments of `version` that are not resident.
    pub(super) async fn of(core: &Core, version: &Version) -> Result<Asked> {
        if !core.capabilities.remote {
            return Ok(Asked::All(FilterInHand::default()));
        }
        let (mut filters, mut others) = (HashMap::new(), Vec::new());
        for segment in version.paged().iter().flat_map(|run| run.segments()) {
            match segment.filter_at_hand() {
                Some(filter) => drop(filters.insert(segment.serial(), (filter, 1))),
                None => others.push(segment),
            }
        }
        let chosen = choose(&mut others, || core.random.next());
        let chosen = fitting(&others[..chosen], core.budget.work).max(READ_MIN.min(chosen));
        let stands_for = (others.len() as u64).div_ceil(chosen.max(1) as u64);
        let read = async |segment: &Arc<Segment>| {
            let segment = segment.read_for(Purpose::Merge);
            let _under_way = segment.long_read().await;
            let filter = segment.filter().await?;
            Ok::<_, crate::Error>((segment.serial(), (filter, stands_for)))
        };
        filters.extend(try_join_all(others[..chosen].iter().map(|segment| read(segment))).await?);
        Ok(Asked::Some(filters))
    }

    /// For how many segments `segment` stands, if it may hold the key whose hash is `hash`: none if it does not, or was not
    /// chosen.
    pub(super) async fn holds(&mut self, segment: &Arc<Segment>, hash: u64) -> Result<u64> {
        Ok(match self {
            Asked::All(filter) => u64::from(filter.may_contain(segment, hash).await?),
            Asked::Some(filters) => match filters.get(&segment.serial()) {
                Some((filter, stands_for)) if filter.may_contain(hash) => *stands_for,
                _ => 0,
            },
        })
    }
}

/// Brings some of `others` to the front, at random, and says how many.
fn choose<T>(others: &mut [T], mut random: impl FnMut() -> u64) -> usize {
    let chosen = others.len().min(READ_MAX);
    for place in 0..chosen {
        let rest = (others.len() - place) as u64;
        others.swap(place, place + (random() % rest) as usize);
    }
    chosen
}

/// How many of `segments` have filters that fit into `memory` together, about.
fn fitting(segments: &[&Arc<Segment>], memory: u64) -> usize {
    let mut sum = 0;
    let lens = segments.iter().map(|segment| segment.filter_len());
    lens.take_while(|len| {
        sum += len;
        sum <= memory
    })
    .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_chosen_about_as_often_as_any_other() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state >> 33
        };
        let mut times = [0_u32; 100];
        for _ in 0..10_000 {
            let mut others: Vec<usize> = (0..100).collect();
            let chosen = choose(&mut others, &mut random);
            assert_eq!(chosen, READ_MAX);
            others[..chosen].iter().for_each(|&other| times[other] += 1);
        }
        assert!(times.iter().all(|times| (1400..1800).contains(times)), "{times:?}");
        assert_eq!((choose(&mut [1, 2, 3], &mut random), choose(&mut [0; 0], &mut random)), (3, 0));
    }
}
