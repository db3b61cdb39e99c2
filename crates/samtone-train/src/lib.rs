//! The training engine: gradient caching, schedules, checkpoints, guards
