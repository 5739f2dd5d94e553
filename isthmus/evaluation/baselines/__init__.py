"""What a recommender has to beat: simple and strong methods, each with a grid to tune over."""
