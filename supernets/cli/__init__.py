"""The commands of supernets and the options they share."""
