//! Contrastive losses for dual encoders: SamToNe and its family, streaming and exact
