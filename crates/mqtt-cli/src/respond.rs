//! `mqtt respond`.
