"""Several workers share the scoring of one run; they exchange scalars, nothing else.

The leader (worker 0) runs the training loop and writes the log. Its scorer is a `SharedScorer`, which tells the
followers what to score. Each worker holds the whole bank, draws the same directions from the same seeds, takes the
same batch from the same data, and scores its share of the step's items; the losses are gathered, and the leader's
coefficients go back. A worker that dies takes its place again, and learns from the leader's scalars what it missed.
"""
