
import boto3

region = 'eu-west-1'
ec2connection = boto3.client('ec2', region)
print ("Checking AWS Region: " + region)

status = ec2connection.get_ebs_encryption_by_default()  # the ebs current status

print (" ------------- unit test: if it is alredy encrypted ------------- ")
result = status["EbsEncryptionByDefault"]
if result == True:
    print ("Activated, nothing to do")
else:
    print("Not activated, activation in progress")
    response = ec2connection.enable_ebs_encryption_by_default()
    print("Setup default EBS Encryption for region", region,": ",  response['EbsEncryptionByDefault'])

