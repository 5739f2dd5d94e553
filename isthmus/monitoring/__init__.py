"""What is watched while a space serves: recall, drift, growth, and the alarms that follow."""
