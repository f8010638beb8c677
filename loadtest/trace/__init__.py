"""What is sent and when: items, gold answers, arrivals and the schedule that joins them."""
