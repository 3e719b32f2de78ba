"""What the examples share: pictures, networks, training that resumes, metrics, figures and their command lines."""
