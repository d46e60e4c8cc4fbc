"""What happens over time: smoothing, neutral pose, angular velocity."""
