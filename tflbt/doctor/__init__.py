"""The command `python -m tflbt.doctor`: could training start on this machine?"""
