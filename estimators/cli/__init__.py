"""The command of estimators and the options it shares with searches."""
