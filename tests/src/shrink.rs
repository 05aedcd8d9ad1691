//! Makes a failing list of operations shorter: leaves out as much as still fails.

/// The shortest list found that still `fails`, starting from `ops`, which does. Tries at most `attempts` times.
///
/// (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input": halves first, then ever smaller parts.)
pub fn shrink<T: Clone>(ops: &[T], attempts: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut ops = ops.to_vec();
    let mut attempts = attempts;
    let mut chunk = ops.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        let mut shorter = false;
        while start < ops.len() && attempts > 0 {
            let mut fewer = ops.clone();
            fewer.drain(start..(start + chunk).min(ops.len()));
            attempts -= 1;
            if fails(&fewer) {
                ops = fewer;
                shorter = true;
            } else {
                start += chunk;
            }
        }
        chunk = match (chunk, shorter && attempts > 0) {
            (1, true) => 1,
            (1, false) => 0,
            _ => chunk / 2,
        };
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_what_is_needed() {
        let ops: Vec<u32> = (0..100).collect();
        let shortest = shrink(&ops, 10_000, |ops| ops.contains(&17) && ops.contains(&71));
        assert_eq!(shortest, [17, 71]);
    }
}
