#![allow(clippy::unwrap_used)]
use super::*;

const DAY: u64 = 24 * 3600 * 1000;
const YEAR: u64 = 365 * DAY;
/// Some time in 2026.
const TODAY: u64 = 56 * YEAR;

#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An engine clock that trusts leaps of a day, over a hand that a test moves. It has seen today.
fn clock() -> (Arc<Hand>, EngineClock) {
    let hand = Arc::new(Hand(AtomicU64::new(TODAY)));
    let clock = EngineClock::new(hand.clone(), Duration::from_millis(DAY));
    clock.saw(TODAY);
    (hand, clock)
}

fn check(clock: &EngineClock, now: u64, trusted: u64) {
    assert_eq!((clock.now(), clock.trusted(), clock.ahead()), (now, trusted, now - trusted));
}

impl Hand {
    /// So much time passes, for everybody.
    async fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn time_never_runs_backwards() {
    let (hand, clock) = clock();
    check(&clock, TODAY, TODAY);
    hand.set(TODAY - 50);
    check(&clock, TODAY, TODAY);
    clock.saw(TODAY + 500);
    check(&clock, TODAY + 500, TODAY + 500);
    hand.set(TODAY + 600);
    check(&clock, TODAY + 600, TODAY + 600);
    hand.set(0);
    check(&clock, TODAY + 600, TODAY + 600);
}

/// A machine that sleeps stops its monotonic clock, for hours, each night; one that is idle stops nothing.
#[tokio::test(start_paused = true)]
async fn sleep_is_no_leap() {
    let (hand, clock) = clock();
    let mut now = TODAY;
    for _night in 0..10 {
        check(&clock, now, now);
        hand.pass(12 * 3600 * 1000).await;
        now += DAY;
        hand.set(now);
        check(&clock, now, now);
    }
    hand.pass(30 * DAY).await;
    check(&clock, now + 30 * DAY, now + 30 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_leap_is_taken_back() {
    let (hand, clock) = clock();
    check(&clock, TODAY, TODAY);
    hand.set(TODAY + 10 * YEAR);
    check(&clock, TODAY + 10 * YEAR, TODAY);
    assert!(!clock.took_back(TODAY + 10 * YEAR));
    // What it should be goes on meanwhile.
    hand.pass(600_000).await;
    check(&clock, TODAY + 10 * YEAR + 600_000, TODAY + 600_000);
    hand.set(TODAY + 600_001);
    check(&clock, TODAY + 600_001, TODAY + 600_001);
    assert!(clock.took_back(TODAY + 10 * YEAR) && !clock.took_back(TODAY + 600_001));
    // And the next one begins anew.
    hand.set(TODAY + 10 * YEAR);
    hand.pass(TRUSTED_AFTER.as_millis() as u64 - 600_000).await;
    assert!(clock.ahead() > 9 * YEAR);
    hand.pass(TRUSTED_AFTER.as_millis() as u64 - 600_000).await;
    assert!(clock.ahead() > 9 * YEAR);
}

#[tokio::test(start_paused = true)]
async fn a_leap_is_trusted_in_the_end() {
    let (hand, clock) = clock();
    hand.set(TODAY + YEAR);
    check(&clock, TODAY + YEAR, TODAY);
    hand.pass(TRUSTED_AFTER.as_millis() as u64 - 1).await;
    assert_eq!(clock.ahead(), YEAR);
    hand.pass(1).await;
    let now = TODAY + YEAR + TRUSTED_AFTER.as_millis() as u64;
    check(&clock, now, now);
    // One that goes on leaping never is.
    for leap in 1..10 {
        hand.set(now + leap * YEAR);
        assert_eq!(clock.now(), now + leap * YEAR);
        hand.pass(TRUSTED_AFTER.as_millis() as u64 / 2).await;
        assert!(clock.ahead() > YEAR / 2);
    }
    // One that is confirmed is, at once.
    clock.confirm();
    assert_eq!(clock.ahead(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_known_any_time_will_do() {
    let hand = Arc::new(Hand(AtomicU64::new(7)));
    let clock = EngineClock::new(hand.clone(), Duration::from_millis(DAY));
    check(&clock, 7, 7);
    // From then on something is: a clock that was set only after the store was made has leapt.
    hand.set(TODAY);
    check(&clock, TODAY, 7);
    clock.saw(TODAY - DAY);
    check(&clock, TODAY, TODAY);
}

#[test]
fn any_leap_can_be_allowed() {
    let hand = Arc::new(Hand(AtomicU64::new(7)));
    let clock = EngineClock::new(hand.clone(), Duration::MAX);
    for millis in [7, TODAY, u64::MAX - 1, u64::MAX] {
        hand.set(millis);
        check(&clock, millis, millis);
    }
}
