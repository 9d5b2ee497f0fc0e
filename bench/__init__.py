"""Speed, memory and cost, measured side by side with what a user would otherwise do -> results/bench.csv."""
