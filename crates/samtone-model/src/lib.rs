//! Dual encoders on Burn: BERT and T5 towers, sharing, weights in and out
