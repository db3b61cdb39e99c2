//! Numbers to one self-contained HTML file
