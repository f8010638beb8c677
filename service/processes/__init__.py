"""One service in several processes: HTTP in front, the device behind, and who looks after them."""
