//! Throughput of whole training steps, and comparison with peers; see the programs in `src/bin` and the scripts in
//! `peers`.
#![forbid(unsafe_code)]
