//! Numbers: medians over rounds, and how people read them.

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (1, Some(middle)) => *middle,
        (0, Some(above)) => f64::midpoint(values[half - 1], *above),
        _ => f64::NAN,
    }
}

/// Three decimals: more would pretend.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

/// A count as people read it: 10,000.
pub(crate) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits are enough.
pub(crate) fn shown(figure: f64) -> String {
    if figure.abs() < 100.0 {
        return format!("{figure:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "figures here are counts"
    )]
    let count = figure.round() as usize;
    thousands(count)
}

/// Where a value lies between two powers of ten, from 0 to 1; those outside lie on the edge.
pub(crate) fn part(value: f64, (low, high): (i32, i32)) -> f64 {
    ((value.log10() - f64::from(low)) / f64::from(high - low)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::{median, thousands};

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median([].into_iter()).is_nan());
        for (values, middle) in [
            (&[3.0][..], 3.0),
            (&[9.0, 1.0], 5.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0, 2.0, 9.0], 3.0),
        ] {
            assert!((median(values.iter().copied()) - middle).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn thousands_are_grouped() {
        for (count, shown) in [(7, "7"), (100, "100"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), shown);
        }
    }
}
