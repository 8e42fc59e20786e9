"""A trainer that learns nothing: it writes what it is told, when it is told, and says when it did."""
