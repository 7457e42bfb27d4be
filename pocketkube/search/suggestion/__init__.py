"""What the suggestion service knows of Katib: requests, parameters, and the answers it takes."""
