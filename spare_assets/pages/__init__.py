"""What pages and texts for people are made of, whatever they show: escaped text, reduced pictures, a closed page."""
