//! `mqtt request`.
