"""Run folders: what lies in them, who may write, and how a killed run goes on."""
