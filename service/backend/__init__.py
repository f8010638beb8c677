"""The seam between HTTP and the device: work in, outcomes out."""
