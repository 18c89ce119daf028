//! Lengths of time on a command line.

use std::time::Duration;

/// The longest that makes sense: over thirty years, for whoever means for ever.
const MAX: Duration = Duration::from_secs(1_000_000_000);

/// Reads seconds, with or without a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let unreadable = || "not a number of seconds above zero; write one like 30 or 0.5".to_owned();
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0).ok_or_else(unreadable)?;
    if number > MAX.as_secs_f64() {
        return Err(format!(
            "longer than {0} seconds; write {0}, which is as good as for ever",
            MAX.as_secs()
        ));
    }
    let seconds = Duration::try_from_secs_f64(number).ok();
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_fractions_and_are_above_zero() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("1e9"), Ok(MAX));
        for (bad, why) in [("0", "above zero"), ("-1", "above zero"), ("x", "above zero"), ("", "above zero")]
            .into_iter()
            .chain([("NaN", "above zero"), ("1e-300", "above zero")])
            .chain([("inf", "1000000000"), ("1e19", "1000000000"), ("1e300", "1000000000")])
        {
            assert!(seconds(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
