"""The encoder turned round by Bayes: behaviour on a grid given events, and the tuning of new units given both."""
