"""The recommender: candidate generators and rankers, trained, stored, served and explained."""
