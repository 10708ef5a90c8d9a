"""The loop over folds, permutations, reruns and the test for leaks."""
