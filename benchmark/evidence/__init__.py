"""What trainings are good for: the paper's claims and the verdict on somebody's images, judged by paired seeds."""
