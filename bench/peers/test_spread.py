import unittest

from spread import paired_ratio, quantile, spread


class SpreadTest(unittest.TestCase):
    def test_quantiles_interpolate_between_neighbours(self):
        # R: quantile(c(4, 1, 3, 2), c(.25, .5, .75)) gives 1.75 2.50 3.25.
        self.assertEqual([quantile([4, 1, 3, 2], q) for q in (0.25, 0.5, 0.75)], [1.75, 2.5, 3.25])
        self.assertEqual([quantile([7], q) for q in (0, 0.5, 1)], [7, 7, 7])
        self.assertEqual([quantile([5, 1], q) for q in (0, 1)], [1, 5])

    def test_no_value_has_no_spread(self):
        self.assertIsNone(spread([]))
        with self.assertRaises(ValueError):
            quantile([], 0.5)

    def test_a_drift_that_hits_both_leaves_ratios_alone(self):
        drift = {"a": 1.0, "b": 5.0, "c": 0.3}
        slow, fast = {k: 10 * d for k, d in drift.items()}, {k: 25 * d for k, d in drift.items()}
        ratio = paired_ratio(fast, slow)
        for value in (ratio.lower, ratio.median, ratio.upper):
            self.assertAlmostEqual(value, 2.5)

    def test_only_pairs_count(self):
        ratio = paired_ratio({"a": 4.0, "b": 9.0, "d": 8.0}, {"a": 2.0, "c": 1.0, "d": 0.0})
        self.assertEqual((ratio.median, ratio.count), (2.0, 1))
        self.assertIsNone(paired_ratio({"a": 1.0}, {"b": 1.0}))

    def test_text_has_median_and_quartiles(self):
        self.assertEqual(spread([1, 2, 3, 4]).text(2), "2.50 (1.75-3.25)")


if __name__ == "__main__":
    unittest.main()
